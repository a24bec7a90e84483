from django.db import migrations, models

STATES = [
    ("running", "Running"),
    ("queued", "Queued"),
    ("done", "Done"),
    ("failed", "Failed"),
    ("cancelled", "Cancelled"),
]


class Migration(migrations.Migration):
    dependencies = [
        ("devops_snapshot", "0006_journey_process"),
    ]

    operations = [
        migrations.AddField(
            model_name="export",
            name="spool",
            field=models.CharField(blank=True, max_length=4096),
        ),
        *(
            migrations.AlterField(
                model_name=model,
                name="state",
                field=models.CharField(choices=STATES, default="running", max_length=16),
            )
            for model in ("export", "import")
        ),
    ]
