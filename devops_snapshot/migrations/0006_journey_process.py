from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("devops_snapshot", "0005_isolated_network"),
    ]

    operations = [
        migrations.AddField(
            model_name="export",
            name="process",
            field=models.CharField(blank=True, max_length=96),
        ),
        migrations.AddField(
            model_name="import",
            name="process",
            field=models.CharField(blank=True, max_length=96),
        ),
    ]
