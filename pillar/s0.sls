# S0: 101 guests on one server, wired through Open vSwitch.
#
# What a host does is the list of its roles; what each role makes is declared under the same name
# below. A key that is not mentioned is left as it is on the host; null removes it.
corral:
  # hypervisor (packages and services) is for a real host; take it out where another tool installs them.
  roles: [hypervisor, switch, links, firewall, dhcp, images, guests]

  # --- Open vSwitch, converged in one transaction (state ovs.switch_managed) ---
  switch:
    bridges:
      ovsbr0:                       # the guests' bridge
        bonds:
          bond0:                    # its way to the physical switch
            members: [eth1, eth2]   # existing NICs; at least two
            mode: balance-tcp       # balance-tcp | balance-slb | active-backup
            lacp: active            # active | passive | off
            lacp_time: fast         # fast (1 s) | slow (30 s)

  # --- addresses, MTU, up (state link.managed) ---
  links:
    ovsbr0:
      addresses: [172.31.110.1/24]  # these; addresses that somebody else made stay
      up: true

  # --- forwarding is switched on; these networks are masqueraded on their way out ---
  firewall:
    masquerade: [172.31.110.0/24]

  # --- DHCP by dnsmasq (state dhcp.subnet_managed); pools add a reservation per guest ---
  dhcp:
    vmworld:
      interface: ovsbr0
      network: 172.31.110.0/24
      range: 172.31.110.100-172.31.110.200
      router: 172.31.110.1
      domain: vmworld

  # --- base images (state image.present) ---
  images:
    fedora-23:
      source: oz                    # oz | url (with sha256) | file
      tdl:
        os: Fedora
        version: 23
        arch: x86_64
        install: {type: url, url: https://archives.fedoraproject.org/pub/archive/fedora/linux/releases/23/Server/x86_64/os/}
        description: Fedora 23 guest (server base)
        # rootpw: from a pillar that is encrypted; without one, a random password is set and forgotten

  # --- pools of guests (state guest_pool.running) ---
  pools:
    fedora-guest:
      replicas: 101
      image: fedora-23
      guest: {memory: 256M, vcpus: 1}
      networks:
        - bridge: ovsbr0
          mac_prefix: '52:60:2f'
          subnet: vmworld
          addresses: 172.31.110.100-172.31.110.200   # guest 0 gets the first
      boot: {ready: lease}          # as many start at once as leases, load and memory allow
