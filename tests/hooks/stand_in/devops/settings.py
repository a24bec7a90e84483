"""Of fuel-devops: where its database is."""

import os

DATABASES = {
    "default": {
        "ENGINE": os.environ.get("DEVOPS_DB_ENGINE", "django.db.backends.postgresql_psycopg2"),
        "NAME": os.environ.get("DEVOPS_DB_NAME", "fuel_devops"),
        "USER": os.environ.get("DEVOPS_DB_USER", "jenkins"),
        "PASSWORD": os.environ.get("DEVOPS_DB_PASSWORD", "secret"),
        "HOST": os.environ.get("DEVOPS_DB_HOST", ""),
        "PORT": os.environ.get("DEVOPS_DB_PORT", "5433"),
    }
}
