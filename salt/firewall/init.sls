# Forwarding and masquerading for the guests' networks (pillar corral:firewall), in a table of our
# own beside whatever else the host's firewall holds.
corral-forwarding:
  sysctl.present:
    - name: net.ipv4.ip_forward
    - value: 1

corral-nat-table:
  nftables.table_present:
    - name: corral
    - family: ipv4

corral-nat-chain:
  nftables.chain_present:
    - name: postrouting
    - table: corral
    - table_type: nat
    - hook: postrouting
    - priority: 100
    - family: ipv4
    - require:
      - nftables: corral-nat-table
{%- for network in pillar.corral.firewall.masquerade %}

# Written as nft lists it, or the core state would append it again at every run; for the same
# reason it names no device: whatever leaves the network is masqueraded, on any uplink.
corral-nat-{{ network }}:
  nftables.append:
    - table: corral
    - chain: postrouting
    - family: ipv4
    - source: {{ network }}
    - destination: '!= {{ network }}'
    - jump: masquerade
    - require:
      - nftables: corral-nat-chain
{%- endfor %}
