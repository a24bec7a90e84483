from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("devops_snapshot", "0002_snapshot_metadata"),
    ]

    operations = [
        migrations.AddField(
            model_name="export",
            name="bytes_unread",
            field=models.BigIntegerField(default=0),
        ),
    ]
