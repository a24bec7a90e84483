import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("devops_snapshot", "0004_import_making"),
    ]

    operations = [
        migrations.CreateModel(
            name="IsolatedNetwork",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("uuid", models.CharField(max_length=36)),
                ("network", models.JSONField()),
                ("params", models.JSONField(default=dict)),
                (
                    "environment",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="isolated_networks",
                        to="devops.environment",
                    ),
                ),
                (
                    "l2_network_device",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="isolated_networks",
                        to="devops.l2networkdevice",
                    ),
                ),
            ],
        ),
    ]
