"""Of fuel-devops: where its database is."""

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql_psycopg2",
        "NAME": "fuel_devops",
        "USER": "jenkins",
        "PASSWORD": "secret",
        "HOST": "",
        "PORT": "5433",
    }
}
