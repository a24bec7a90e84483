-- A database as fuel-devops 3.0.5 leaves it (Django 1.8, jsonfield 1.0): the schema with its names, and
-- two environments of our own. "lab-7" is libvirt's, with one external snapshot, "rack" is baremetal.

CREATE TABLE devops_address (
    id serial CONSTRAINT devops_address_pkey PRIMARY KEY,
    ip_address inet NOT NULL,
    interface_id integer
);
CREATE TABLE devops_address_pool (
    id serial CONSTRAINT devops_address_pool_pkey PRIMARY KEY,
    created timestamp with time zone NOT NULL,
    params text NOT NULL,
    name character varying(255) NOT NULL,
    net character varying(255) NOT NULL CONSTRAINT devops_address_pool_net_key UNIQUE,
    environment_id integer NOT NULL,
    CONSTRAINT devops_address_pool_name_630b73a806bf33bb_uniq UNIQUE (name, environment_id)
);
CREATE TABLE devops_diskdevice (
    id serial CONSTRAINT devops_diskdevice_pkey PRIMARY KEY,
    params text NOT NULL,
    node_id integer NOT NULL,
    volume_id integer
);
CREATE TABLE devops_driver (
    id serial CONSTRAINT devops_driver_pkey PRIMARY KEY,
    created timestamp with time zone NOT NULL,
    params text NOT NULL,
    name character varying(512) NOT NULL
);
CREATE TABLE devops_environment (
    id serial CONSTRAINT devops_environment_pkey PRIMARY KEY,
    created timestamp with time zone NOT NULL,
    name character varying(255) NOT NULL CONSTRAINT devops_environment_name_key UNIQUE
);
CREATE TABLE devops_group (
    id serial CONSTRAINT devops_group_pkey PRIMARY KEY,
    created timestamp with time zone NOT NULL,
    name character varying(255) NOT NULL,
    driver_id integer NOT NULL CONSTRAINT devops_group_driver_id_key UNIQUE,
    environment_id integer
);
CREATE TABLE devops_interface (
    id serial CONSTRAINT devops_interface_pkey PRIMARY KEY,
    params text NOT NULL,
    label character varying(255),
    mac_address character varying(255) NOT NULL CONSTRAINT devops_interface_mac_address_key UNIQUE,
    type character varying(255) NOT NULL,
    model character varying(255) NOT NULL,
    l2_network_device_id integer,
    node_id integer NOT NULL
);
CREATE TABLE devops_l2_network_device (
    id serial CONSTRAINT devops_l2_network_device_pkey PRIMARY KEY,
    created timestamp with time zone NOT NULL,
    params text NOT NULL,
    name character varying(255) NOT NULL,
    address_pool_id integer,
    group_id integer
);
CREATE TABLE devops_network_config (
    id serial CONSTRAINT devops_network_config_pkey PRIMARY KEY,
    label character varying(255) NOT NULL,
    networks text NOT NULL,
    aggregation character varying(255),
    parents text NOT NULL,
    node_id integer NOT NULL
);
CREATE TABLE devops_network_pool (
    id serial CONSTRAINT devops_network_pool_pkey PRIMARY KEY,
    created timestamp with time zone NOT NULL,
    name character varying(255) NOT NULL,
    address_pool_id integer,
    group_id integer
);
CREATE TABLE devops_node (
    id serial CONSTRAINT devops_node_pkey PRIMARY KEY,
    created timestamp with time zone NOT NULL,
    params text NOT NULL,
    name character varying(255) NOT NULL,
    role character varying(255),
    group_id integer,
    CONSTRAINT devops_node_name_3e53e54783aff70c_uniq UNIQUE (name, group_id)
);
CREATE TABLE devops_volume (
    id serial CONSTRAINT devops_volume_pkey PRIMARY KEY,
    created timestamp with time zone NOT NULL,
    params text NOT NULL,
    name character varying(255) NOT NULL,
    backing_store_id integer,
    group_id integer,
    node_id integer,
    CONSTRAINT devops_volume_name_5332b48ee520f275_uniq UNIQUE (name, node_id),
    CONSTRAINT devops_volume_name_7e01de4a3478068b_uniq UNIQUE (name, group_id)
);
CREATE TABLE django_migrations (
    id serial CONSTRAINT django_migrations_pkey PRIMARY KEY,
    app character varying(255) NOT NULL,
    name character varying(255) NOT NULL,
    applied timestamp with time zone NOT NULL
);

CREATE INDEX devops_address_991706b3 ON devops_address (interface_id);
CREATE INDEX devops_address_pool_9e06e326 ON devops_address_pool (environment_id);
CREATE INDEX devops_address_pool_net_56f61d74d6ca566d_like
    ON devops_address_pool (net varchar_pattern_ops);
CREATE INDEX devops_diskdevice_654102bb ON devops_diskdevice (volume_id);
CREATE INDEX devops_diskdevice_c693ebc8 ON devops_diskdevice (node_id);
CREATE INDEX devops_environment_name_1b6aed374a180e31_like
    ON devops_environment (name varchar_pattern_ops);
CREATE INDEX devops_group_9e06e326 ON devops_group (environment_id);
CREATE INDEX devops_interface_c693ebc8 ON devops_interface (node_id);
CREATE INDEX devops_interface_fdbe88da ON devops_interface (l2_network_device_id);
CREATE INDEX devops_interface_mac_address_54a1d8c7dad2a785_like
    ON devops_interface (mac_address varchar_pattern_ops);
CREATE INDEX devops_l2_network_device_0e939a4f ON devops_l2_network_device (group_id);
CREATE INDEX devops_l2_network_device_a8e2d6f9 ON devops_l2_network_device (address_pool_id);
CREATE INDEX devops_network_config_c693ebc8 ON devops_network_config (node_id);
CREATE INDEX devops_network_pool_0e939a4f ON devops_network_pool (group_id);
CREATE INDEX devops_network_pool_a8e2d6f9 ON devops_network_pool (address_pool_id);
CREATE INDEX devops_node_0e939a4f ON devops_node (group_id);
CREATE INDEX devops_volume_0e939a4f ON devops_volume (group_id);
CREATE INDEX devops_volume_6b0b23f5 ON devops_volume (backing_store_id);
CREATE INDEX devops_volume_c693ebc8 ON devops_volume (node_id);

INSERT INTO devops_environment VALUES
(1, '2019-07-14 22:10:02.104729+00', 'lab-7'),
(2, '2019-07-14 22:10:04.209458+00', 'rack');
SELECT setval('devops_environment_id_seq', 2);

INSERT INTO devops_driver VALUES
(1, '2019-07-14 22:10:06.314187+00', '{"connection_string":"qemu:///system","storage_pool_name":"images","stp":true,"hpet":false,"use_host_cpu":true,"_class":"devops.driver.libvirt.libvirt_driver:LibvirtDriver","enable_acpi":false,"enable_nwfilters":false,"reboot_timeout":null,"use_hugepages":false,"vnc_password":null}', 'devops.driver.libvirt'),
(2, '2019-07-14 22:10:08.418916+00', '{"_class":"devops.driver.baremetal.ipmi_driver:IpmiDriver"}', 'devops.driver.baremetal');
SELECT setval('devops_driver_id_seq', 2);

INSERT INTO devops_group VALUES
(1, '2019-07-14 22:10:10.523645+00', 'default', 1, 1),
(2, '2019-07-14 22:10:12.628374+00', 'metal', 2, 2);
SELECT setval('devops_group_id_seq', 2);

INSERT INTO devops_address_pool VALUES
(1, '2019-07-14 22:10:14.733103+00', '{"vlan_start":0,"ip_reserved":{"gateway":"10.77.0.1","l2_network_device":"10.77.0.1","default_admin":"10.77.0.2"},"ip_ranges":{"dhcp":["10.77.0.3","10.77.0.200"],"default":["10.77.0.2","10.77.0.254"]},"_class":"devops.models.network:AddressPool","vlan_end":null,"tag":null}', 'admin-pool', '10.77.0.0/24', 1),
(2, '2019-07-14 22:10:16.837832+00', '{"vlan_start":940,"vlan_end":951,"_class":"devops.models.network:AddressPool","tag":null,"ip_reserved":{},"ip_ranges":{}}', 'private-pool', '10.77.1.0/24', 1),
(3, '2019-07-14 22:10:18.942561+00', '{"_class":"devops.models.network:AddressPool","vlan_start":null,"vlan_end":null,"tag":17,"ip_reserved":{},"ip_ranges":{}}', 'rack-pool', '172.30.5.0/26', 2);
SELECT setval('devops_address_pool_id_seq', 3);

INSERT INTO devops_l2_network_device VALUES
(1, '2019-07-14 22:10:20.047290+00', '{"forward":{"mode":"nat"},"dhcp":true,"_class":"devops.driver.libvirt.libvirt_driver:LibvirtL2NetworkDevice","uuid":"6d1dbfb5-2a0e-4d5c-9d8b-0f7a52f4a1c3","stp":null,"has_pxe_server":false,"tftp_root_dir":null,"vlan_ifaces":[],"parent_iface":{"phys_dev":null,"l2_net_dev":null,"tag":null}}', 'admin', 1, 1),
(2, '2019-07-14 22:10:22.152019+00', '{"dhcp":false,"_class":"devops.driver.libvirt.libvirt_driver:LibvirtL2NetworkDevice","uuid":"0b8c1de4-93f5-4f0b-8a35-6cb7d0f59d10","forward":{"mode":null},"stp":null,"has_pxe_server":false,"tftp_root_dir":null,"vlan_ifaces":[],"parent_iface":{"phys_dev":null,"l2_net_dev":null,"tag":null}}', 'private', 2, 1),
(3, '2019-07-14 22:10:24.256748+00', '{"_class":"devops.driver.baremetal.ipmi_driver:IpmiL2NetworkDevice"}', 'rack-admin', 3, 2);
SELECT setval('devops_l2_network_device_id_seq', 3);

INSERT INTO devops_network_pool VALUES
(1, '2019-07-14 22:10:26.361477+00', 'fuelweb_admin', 1, 1),
(2, '2019-07-14 22:10:28.466206+00', 'private', 2, 1);
SELECT setval('devops_network_pool_id_seq', 2);

INSERT INTO devops_node VALUES
(1, '2019-07-14 22:10:30.570935+00', '{"boot":["hd","cdrom"],"vcpu":2,"memory":2048,"_class":"devops.driver.libvirt.libvirt_driver:LibvirtNode","uuid":"f3c2a4de-6d2b-4f57-9f0c-1d3e7b9a5c21","hypervisor":"kvm","os_type":"hvm","architecture":"x86_64","has_vnc":true,"has_videocard":true,"bootmenu_timeout":0,"numa":[],"cloud_init_volume_name":null,"cloud_init_iface_up":null,"bmc_network":false,"bmc_user":"admin","bmc_password":"r00tme","bmc_port":null,"kernel_cmd":null,"ssh_port":22,"bootstrap_timeout":600,"deploy_timeout":3600,"deploy_check_cmd":null}', 'admin', 'fuel_master', 1),
(2, '2019-07-14 22:10:32.675664+00', '{"hypervisor":"kvm","vcpu":1,"memory":1536,"site_note":"R\u00e4tsel \u2713","site_weights":{"b":1.5,"a":[1,null]},"_class":"devops.driver.libvirt.libvirt_driver:LibvirtNode","uuid":"1f2e3d4c-5b6a-4798-8f9e-0a1b2c3d4e5f","os_type":"hvm","architecture":"x86_64","boot":["network","cdrom","hd"],"has_vnc":true,"has_videocard":true,"bootmenu_timeout":0,"numa":[],"cloud_init_volume_name":null,"cloud_init_iface_up":null,"bmc_network":false,"bmc_user":"admin","bmc_password":"r00tme","bmc_port":null,"kernel_cmd":null,"ssh_port":22,"bootstrap_timeout":600,"deploy_timeout":3600,"deploy_check_cmd":null}', 'slave-01', 'fuel_slave', 1),
(3, '2019-07-14 22:10:34.780393+00', '{"ipmi_user":"operator","ipmi_password":"s3same","ipmi_host":"192.0.2.44","_class":"devops.driver.baremetal.ipmi_driver:IpmiNode","uuid":null,"boot":"pxe","force_set_boot":true,"ipmi_previlegies":"OPERATOR","ipmi_lan_interface":"lanplus","ipmi_port":623,"kernel_cmd":null,"ssh_port":22,"bootstrap_timeout":600,"deploy_timeout":3600,"deploy_check_cmd":null}', 'blade-1', 'fuel_slave', 2);
SELECT setval('devops_node_id_seq', 3);

INSERT INTO devops_interface VALUES
(1, '{"features":[],"_class":"devops.driver.libvirt.libvirt_driver:LibvirtInterface"}', 'eth0', '64:0a:1b:2c:3d:4e', 'network', 'e1000', 1, 1),
(2, '{"features":[],"_class":"devops.driver.libvirt.libvirt_driver:LibvirtInterface"}', 'eth0', '64:5f:60:71:82:93', 'network', 'virtio', 1, 2),
(3, '{"features":["dpdk"],"_class":"devops.driver.libvirt.libvirt_driver:LibvirtInterface"}', 'eth1', '64:a4:b5:c6:d7:e8', 'network', 'virtio', 2, 2),
(4, '{"features":[],"_class":"devops.models.network:Interface"}', 'em1', '64:01:02:03:04:05', 'network', 'virtio', 3, 3);
SELECT setval('devops_interface_id_seq', 4);

INSERT INTO devops_address VALUES
(1, '10.77.0.2', 1),
(2, '10.77.0.3', 2),
(3, '10.77.1.2', 3),
(4, '172.30.5.2', 4);
SELECT setval('devops_address_id_seq', 4);

INSERT INTO devops_network_config VALUES
(1, 'eth0', '["fuelweb_admin"]', NULL, '[]', 1),
(2, 'eth0', '["fuelweb_admin"]', NULL, '[]', 2),
(3, 'bond0', '["private","storage"]', 'active-backup', '["eth1"]', 2);
SELECT setval('devops_network_config_id_seq', 3);

INSERT INTO devops_volume VALUES
(1, '2019-07-14 22:10:36.885122+00', '{"format":"qcow2","source_image":"/srv/golden/base.qcow2","_class":"devops.driver.libvirt.libvirt_driver:LibvirtVolume","uuid":"/srv/images/lab-7_default_golden","capacity":null,"serial":"5b1d0fbb13324e6c9c6a35cbb3c1a7d0","wwn":"0a1f2e3d4c5b6978","multipath_count":0,"cloudinit_meta_data":null,"cloudinit_user_data":null,"shared_backing_store_name":null}', 'golden', NULL, 1, NULL),
(2, '2019-07-14 22:10:38.989851+00', '{"capacity":1.5,"format":"qcow2","_class":"devops.driver.libvirt.libvirt_driver:LibvirtVolume","uuid":"/srv/images/lab-7_admin_system","source_image":null,"serial":"c0ffee0012344321a1b2c3d4e5f60718","wwn":"0b2c3d4e5f607182","multipath_count":0,"cloudinit_meta_data":null,"cloudinit_user_data":null,"shared_backing_store_name":null}', 'system', 1, NULL, 1),
(3, '2019-07-14 22:10:40.094580+00', '{"format":"raw","source_image":"/srv/golden/fuel.iso","_class":"devops.driver.libvirt.libvirt_driver:LibvirtVolume","uuid":"/srv/images/lab-7_admin_iso","capacity":null,"serial":"0102030405060708090a0b0c0d0e0f10","wwn":"0c3d4e5f60718293","multipath_count":0,"cloudinit_meta_data":null,"cloudinit_user_data":null,"shared_backing_store_name":null}', 'iso', NULL, NULL, 1),
(4, '2019-07-14 22:10:42.199309+00', '{"capacity":20,"format":"qcow2","_class":"devops.driver.libvirt.libvirt_driver:LibvirtVolume","uuid":"/srv/images/lab-7_slave-01_system","source_image":null,"serial":"9f8e7d6c5b4a39281706f5e4d3c2b1a0","wwn":"0d4e5f6071829304","multipath_count":0,"cloudinit_meta_data":null,"cloudinit_user_data":null,"shared_backing_store_name":null}', 'system', NULL, NULL, 2),
(5, '2019-07-14 22:10:44.304038+00', '{"format":"qcow2","_class":"devops.driver.libvirt.libvirt_driver:LibvirtVolume","uuid":"/srv/images/lab-7_admin_golden.deployed","capacity":null,"source_image":null,"serial":"aa11bb22cc33dd44ee55ff6600778899","wwn":"0e5f607182930415","multipath_count":0,"cloudinit_meta_data":null,"cloudinit_user_data":null,"shared_backing_store_name":null}', 'golden.deployed', 2, NULL, 1),
(6, '2019-07-14 22:10:46.408767+00', '{"format":"qcow2","_class":"devops.driver.libvirt.libvirt_driver:LibvirtVolume","uuid":"/srv/images/lab-7_slave-01_system.deployed","capacity":null,"source_image":null,"serial":"11aa22bb33cc44dd55ee66ff77008899","wwn":"0f60718293041526","multipath_count":0,"cloudinit_meta_data":null,"cloudinit_user_data":null,"shared_backing_store_name":null}', 'system.deployed', 4, NULL, 2);
SELECT setval('devops_volume_id_seq', 6);

INSERT INTO devops_diskdevice VALUES
(1, '{"device":"disk","type":"file","bus":"virtio","target_dev":"sda","_class":"devops.driver.libvirt.libvirt_driver:LibvirtDiskDevice"}', 1, 5),
(2, '{"device":"cdrom","type":"file","bus":"ide","target_dev":"sdb","_class":"devops.driver.libvirt.libvirt_driver:LibvirtDiskDevice"}', 1, 3),
(3, '{"device":"disk","type":"file","bus":"virtio","target_dev":"sda","_class":"devops.driver.libvirt.libvirt_driver:LibvirtDiskDevice"}', 2, 6);
SELECT setval('devops_diskdevice_id_seq', 3);

INSERT INTO django_migrations VALUES
(1, 'devops', '0001_initial', '2019-07-14 22:09:59.000001+00');
SELECT setval('django_migrations_id_seq', 1);

ALTER TABLE devops_network_pool ADD CONSTRAINT
    devo_address_pool_id_1bfbba7ecc1245c6_fk_devops_address_pool_id
    FOREIGN KEY (address_pool_id) REFERENCES devops_address_pool(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE devops_l2_network_device ADD CONSTRAINT
    devo_address_pool_id_48acd94643a1d13d_fk_devops_address_pool_id
    FOREIGN KEY (address_pool_id) REFERENCES devops_address_pool(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE devops_address ADD CONSTRAINT
    devops_add_interface_id_31678ed3d34e0c05_fk_devops_interface_id
    FOREIGN KEY (interface_id) REFERENCES devops_interface(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE devops_diskdevice ADD CONSTRAINT
    devops_diskdevic_volume_id_4903c33596b6bc2e_fk_devops_volume_id
    FOREIGN KEY (volume_id) REFERENCES devops_volume(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE devops_diskdevice ADD CONSTRAINT
    devops_diskdevice_node_id_68ea74b3aa84aad4_fk_devops_node_id
    FOREIGN KEY (node_id) REFERENCES devops_node(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE devops_group ADD CONSTRAINT
    devops_environment_id_450c8a816e2d051d_fk_devops_environment_id
    FOREIGN KEY (environment_id) REFERENCES devops_environment(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE devops_address_pool ADD CONSTRAINT
    devops_environment_id_77ebe30df621cf4c_fk_devops_environment_id
    FOREIGN KEY (environment_id) REFERENCES devops_environment(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE devops_group ADD CONSTRAINT
    devops_group_driver_id_76b6c98e810b695f_fk_devops_driver_id
    FOREIGN KEY (driver_id) REFERENCES devops_driver(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE devops_interface ADD CONSTRAINT
    devops_interface_node_id_5f3332562ae117ae_fk_devops_node_id
    FOREIGN KEY (node_id) REFERENCES devops_node(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE devops_l2_network_device ADD CONSTRAINT
    devops_l2_network__group_id_2df8d6d6e28f6f71_fk_devops_group_id
    FOREIGN KEY (group_id) REFERENCES devops_group(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE devops_network_config ADD CONSTRAINT
    devops_network_confi_node_id_510cea3861f2a4b8_fk_devops_node_id
    FOREIGN KEY (node_id) REFERENCES devops_node(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE devops_network_pool ADD CONSTRAINT
    devops_network_poo_group_id_3f6abba05b3a9312_fk_devops_group_id
    FOREIGN KEY (group_id) REFERENCES devops_group(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE devops_node ADD CONSTRAINT
    devops_node_group_id_76b366481e7173d6_fk_devops_group_id
    FOREIGN KEY (group_id) REFERENCES devops_group(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE devops_volume ADD CONSTRAINT
    devops_vo_backing_store_id_734bbb0ed04ec241_fk_devops_volume_id
    FOREIGN KEY (backing_store_id) REFERENCES devops_volume(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE devops_volume ADD CONSTRAINT
    devops_volume_group_id_4928378dbede40e1_fk_devops_group_id
    FOREIGN KEY (group_id) REFERENCES devops_group(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE devops_volume ADD CONSTRAINT
    devops_volume_node_id_767c78c0be145c02_fk_devops_node_id
    FOREIGN KEY (node_id) REFERENCES devops_node(id) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE devops_interface ADD CONSTRAINT
    eb515f49011b4cf4c866782b78637122
    FOREIGN KEY (l2_network_device_id) REFERENCES devops_l2_network_device(id)
    DEFERRABLE INITIALLY DEFERRED;
