# S3: networks of several tenants over several hosts, by tunnels between the hosts.
#
# It is the same on every host; each finds its own part by its minion id. An address in the underlay is that of
# a network interface of the host (sections switch and links, or the distribution's own files).
corral:
  roles: [hypervisor, overlay]

  # --- bridges, tunnels, flows (state ovs.overlay_managed), gateways and DHCP servers of the networks ---
  overlay:
    peers: {hv1: 192.0.2.1, hv2: 192.0.2.2, hv3: 192.0.2.3}   # minion id: its address in the underlay
    # mine: {tgt: 'hv*', fun: corral_underlay}                # or from the Salt mine; peers go before it
    encapsulation: vxlan            # vxlan | gre | geneve | stt
    # underlay_mtu: 9000            # default: the MTU of the interface that has the address
    networks:
      blue:
        key: 1001                   # its number in the tunnels, on every host
        subnet: 10.1.0.0/24
        served_by: hv1              # who has the gateway (default: the first address) and the DHCP server
        dhcp: {range: 10.1.0.100-10.1.0.199, domain: blue.example}
      red:                          # another tenant, with the same addresses
        key: 2002
        subnet: 10.1.0.0/24
        served_by: hv2
        dhcp: {range: 10.1.0.100-10.1.0.199}
        hosts: [hv2, hv3]           # who has it; default: all peers
      old: null                     # is no more
