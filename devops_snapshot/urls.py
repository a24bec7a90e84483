"""Django's admin, the only thing that is served (see ``settings_admin``)."""

from django.contrib import admin
from django.urls import path

urlpatterns = [path("", admin.site.urls)]
