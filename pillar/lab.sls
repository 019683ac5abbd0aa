# What is different in the throw-away hypervisor of bin/demo; merged over s0.sls.
# Its grain corral_lab says how many guests are wanted and where the small install tree is served.
corral:
  # Packages and daemons are there already, and no init system runs that could be asked for them.
  roles: [switch, links, firewall, dhcp, images, guests]

  switch:
    bridges:
      ovsbr0:
        datapath_type: netdev       # in user space; a real host leaves this out (system)
      peer0:                        # the other end of the bond: here the physical switch is ours, too
        datapath_type: netdev
        bonds:
          bond1: {members: [eth3, eth4], mode: balance-tcp, lacp: active, lacp_time: fast}

  images:
    fedora-23:
      tdl:
        install: {url: '{{ grains.corral_lab.install_url }}'}
      build: {bridge: ozbr0, memory: 512M, type: qemu}

  pools:
    fedora-guest:
      replicas: {{ grains.corral_lab.guests }}
      guest: {memory: 96M, type: qemu, tcg_cache: 16M}
      networks:                     # a list replaces the list of s0.sls
        - bridge: ovsbr0
          mac_prefix: '52:60:2f'
          subnet: vmworld
          addresses: 172.31.110.100-172.31.110.200
          offload: false            # a switch in user space passes on TCP checksums that nobody has filled in
