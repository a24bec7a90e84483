"""Settings of the admin site, where the records can be read in a browser.

::

    export DJANGO_SETTINGS_MODULE=devops_snapshot.settings_admin
    python -m django migrate --database admin
    python -m django createsuperuser --database admin
    python -m django runserver

Users and sessions live in an SQLite file of their own: the devops database, which may be that of
fuel-devops, gets none of their tables.
"""

from __future__ import annotations

import secrets

from django.db.backends.signals import connection_created

from devops_snapshot.devops.database import reset_time_zone
from devops_snapshot.settings import *  # noqa: F403  # this is how Django's settings build on others
from devops_snapshot.settings import DATABASES, DEVOPS_HOME, INSTALLED_APPS

# The records are looked at in private, and runserver serves the admin's own files only so.
DEBUG = True
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
SECRET_KEY = secrets.token_urlsafe(48)  # whoever is logged in logs in again after a restart
INSTALLED_APPS = [
    *INSTALLED_APPS,
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
DATABASES = {
    **DATABASES,
    "admin": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(DEVOPS_HOME / "admin.sqlite3")},
}
DATABASE_ROUTERS = ["devops_snapshot.devops.database.AdminRouter"]
ROOT_URLCONF = "devops_snapshot.urls"
STATIC_URL = "static/"

# Templates need a zone to show times, naive UTC ones as well; but what it says must not reach
# PostgreSQL, which has to read fuel-devops's times in its own zone (see settings).
TIME_ZONE = "UTC"
connection_created.connect(reset_time_zone, dispatch_uid="devops_snapshot.time_zone")

LOGIN_URL = "/login/"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
