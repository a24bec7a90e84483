"""The tables as the models have them, under the name that migrations of others depend on."""

from __future__ import annotations

from django.apps import apps
from django.db import migrations
from django.db.migrations.state import ModelState


def created(model: type) -> migrations.CreateModel:
    state = ModelState.from_model(model)
    return migrations.CreateModel(state.name, list(state.fields.items()), state.options)


class Migration(migrations.Migration):
    initial = True
    operations = [created(model) for model in apps.get_app_config("devops").get_models()]
