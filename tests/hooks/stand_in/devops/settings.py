"""Of fuel-devops: where its database is."""

import os

DATABASES = {
    "default": {
        "ENGINE": os.environ.get("DEVOPS_DB_ENGINE", "django.db.backends.postgresql_psycopg2"),
        "NAME": os.environ.get("DEVOPS_DB_NAME", "fuel_devops"),
        "USER": "jenkins",
        "PASSWORD": "secret",
        "HOST": "",
        "PORT": "5433",
    }
}
