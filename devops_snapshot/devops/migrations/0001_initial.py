"""The tables of fuel-devops 3.0.5, under the name of the migration that made them there."""

import django.db.models.deletion
from django.db import migrations, models

import devops_snapshot.devops.models.base
import devops_snapshot.devops.models.fields


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="DiskDevice",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("params", devops_snapshot.devops.models.fields.JSONTextField(default=dict)),
            ],
            options={
                "db_table": "devops_diskdevice",
            },
        ),
        migrations.CreateModel(
            name="Driver",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "created",
                    models.DateTimeField(default=devops_snapshot.devops.models.base.utcnow),
                ),
                ("params", devops_snapshot.devops.models.fields.JSONTextField(default=dict)),
                ("name", models.CharField(max_length=512)),
            ],
            options={
                "db_table": "devops_driver",
            },
        ),
        migrations.CreateModel(
            name="Environment",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "created",
                    models.DateTimeField(default=devops_snapshot.devops.models.base.utcnow),
                ),
                ("name", models.CharField(max_length=255, unique=True)),
            ],
            options={
                "db_table": "devops_environment",
            },
        ),
        migrations.CreateModel(
            name="Interface",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("params", devops_snapshot.devops.models.fields.JSONTextField(default=dict)),
                ("label", models.CharField(max_length=255, null=True)),
                ("mac_address", models.CharField(max_length=255, unique=True)),
                ("type", models.CharField(max_length=255)),
                (
                    "model",
                    models.CharField(
                        choices=[
                            ("virtio", "virtio"),
                            ("e1000", "e1000"),
                            ("pcnet", "pcnet"),
                            ("rtl8139", "rtl8139"),
                            ("ne2k_pci", "ne2k_pci"),
                        ],
                        max_length=255,
                    ),
                ),
            ],
            options={
                "db_table": "devops_interface",
            },
        ),
        migrations.CreateModel(
            name="LibvirtDiskDevice",
            fields=[],
            options={
                "proxy": True,
                "indexes": [],
                "constraints": [],
            },
            bases=("devops.diskdevice",),
        ),
        migrations.CreateModel(
            name="LibvirtDriver",
            fields=[],
            options={
                "proxy": True,
                "indexes": [],
                "constraints": [],
            },
            bases=("devops.driver",),
        ),
        migrations.CreateModel(
            name="AddressPool",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "created",
                    models.DateTimeField(default=devops_snapshot.devops.models.base.utcnow),
                ),
                ("params", devops_snapshot.devops.models.fields.JSONTextField(default=dict)),
                ("name", models.CharField(max_length=255)),
                ("net", models.CharField(max_length=255, unique=True)),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, to="devops.environment"
                    ),
                ),
            ],
            options={
                "db_table": "devops_address_pool",
                "unique_together": {("name", "environment")},
            },
        ),
        migrations.CreateModel(
            name="Group",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "created",
                    models.DateTimeField(default=devops_snapshot.devops.models.base.utcnow),
                ),
                ("name", models.CharField(max_length=255)),
                (
                    "driver",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, to="devops.driver"
                    ),
                ),
                (
                    "environment",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        to="devops.environment",
                    ),
                ),
            ],
            options={
                "db_table": "devops_group",
            },
        ),
        migrations.CreateModel(
            name="Address",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("ip_address", models.GenericIPAddressField()),
                (
                    "interface",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        to="devops.interface",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "addresses",
                "db_table": "devops_address",
            },
        ),
        migrations.CreateModel(
            name="LibvirtInterface",
            fields=[],
            options={
                "proxy": True,
                "indexes": [],
                "constraints": [],
            },
            bases=("devops.interface",),
        ),
        migrations.CreateModel(
            name="L2NetworkDevice",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "created",
                    models.DateTimeField(default=devops_snapshot.devops.models.base.utcnow),
                ),
                ("params", devops_snapshot.devops.models.fields.JSONTextField(default=dict)),
                ("name", models.CharField(max_length=255)),
                (
                    "address_pool",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        to="devops.addresspool",
                    ),
                ),
                (
                    "group",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.CASCADE, to="devops.group"
                    ),
                ),
            ],
            options={
                "verbose_name": "l2_network_device",
                "db_table": "devops_l2_network_device",
            },
        ),
        migrations.AddField(
            model_name="interface",
            name="l2_network_device",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.CASCADE, to="devops.l2networkdevice"
            ),
        ),
        migrations.CreateModel(
            name="LibvirtL2NetworkDevice",
            fields=[],
            options={
                "proxy": True,
                "indexes": [],
                "constraints": [],
            },
            bases=("devops.l2networkdevice",),
        ),
        migrations.CreateModel(
            name="NetworkPool",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "created",
                    models.DateTimeField(default=devops_snapshot.devops.models.base.utcnow),
                ),
                ("name", models.CharField(max_length=255)),
                (
                    "address_pool",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        to="devops.addresspool",
                    ),
                ),
                (
                    "group",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.CASCADE, to="devops.group"
                    ),
                ),
            ],
            options={
                "db_table": "devops_network_pool",
            },
        ),
        migrations.CreateModel(
            name="Node",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "created",
                    models.DateTimeField(default=devops_snapshot.devops.models.base.utcnow),
                ),
                ("params", devops_snapshot.devops.models.fields.JSONTextField(default=dict)),
                ("name", models.CharField(max_length=255)),
                ("role", models.CharField(max_length=255, null=True)),
                (
                    "group",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.CASCADE, to="devops.group"
                    ),
                ),
            ],
            options={
                "db_table": "devops_node",
                "unique_together": {("name", "group")},
            },
        ),
        migrations.CreateModel(
            name="NetworkConfig",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("label", models.CharField(max_length=255)),
                ("networks", devops_snapshot.devops.models.fields.JSONTextField(default=list)),
                ("aggregation", models.CharField(max_length=255, null=True)),
                ("parents", devops_snapshot.devops.models.fields.JSONTextField(default=list)),
                (
                    "node",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, to="devops.node"
                    ),
                ),
            ],
            options={
                "db_table": "devops_network_config",
            },
        ),
        migrations.AddField(
            model_name="interface",
            name="node",
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="devops.node"),
        ),
        migrations.AddField(
            model_name="diskdevice",
            name="node",
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="devops.node"),
        ),
        migrations.CreateModel(
            name="LibvirtNode",
            fields=[],
            options={
                "proxy": True,
                "indexes": [],
                "constraints": [],
            },
            bases=("devops.node",),
        ),
        migrations.CreateModel(
            name="Volume",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "created",
                    models.DateTimeField(default=devops_snapshot.devops.models.base.utcnow),
                ),
                ("params", devops_snapshot.devops.models.fields.JSONTextField(default=dict)),
                ("name", models.CharField(max_length=255)),
                (
                    "backing_store",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.CASCADE, to="devops.volume"
                    ),
                ),
                (
                    "group",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.CASCADE, to="devops.group"
                    ),
                ),
                (
                    "node",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.CASCADE, to="devops.node"
                    ),
                ),
            ],
            options={
                "db_table": "devops_volume",
                "unique_together": {("name", "group"), ("name", "node")},
            },
        ),
        migrations.AddField(
            model_name="diskdevice",
            name="volume",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.CASCADE, to="devops.volume"
            ),
        ),
        migrations.CreateModel(
            name="LibvirtVolume",
            fields=[],
            options={
                "proxy": True,
                "indexes": [],
                "constraints": [],
            },
            bases=("devops.volume",),
        ),
    ]
