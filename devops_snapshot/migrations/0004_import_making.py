from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("devops_snapshot", "0003_export_bytes_unread"),
    ]

    operations = [
        migrations.AddField(
            model_name="import",
            name="making",
            field=models.JSONField(blank=True, default=dict),
        ),
        migrations.AddField(
            model_name="import",
            name="place",
            field=models.CharField(blank=True, max_length=64),
        ),
    ]
