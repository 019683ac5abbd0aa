# Forwarding, and masquerading for the guests' networks (pillar corral:firewall).
corral-forwarding:
  sysctl.present:
    - name: net.ipv4.ip_forward
    - value: 1

# The table is Corral's own, beside whatever else the host's firewall holds. It is made anew in one
# transaction, so that it holds exactly these rules; the core nftables states can only add to it. No rule
# names a device: whatever leaves the network is masqueraded, on any uplink.
{%- set networks = (pillar.get('corral', {}).firewall | default({}, true)).masquerade | default([], true) %}
{%- set table %}
table ip corral
delete table ip corral
table ip corral {
  chain postrouting {
    type nat hook postrouting priority 100
{%- for network in networks %}
    ip saddr {{ network }} ip daddr != {{ network }} masquerade comment "firewall.masquerade[{{ loop.index0 }}]"
{%- endfor %}
  }
}
{% endset %}

# Whether it is as declared is nft's own judgement, which lists the declared table from a network
# namespace that lasts as long as the question. It is asked here and not as "unless": for a state with
# that word Salt loads every module it has, which takes longer than all of the highstate.
{%- set question %}
there=$(nft -s list table ip corral) && test "$there" =
"$(unshare -n sh -c 'printf %s "$CORRAL_NAT" | nft -f - && nft -s list table ip corral')"
{%- endset %}
{%- set differs = salt['cmd.retcode'](question | replace('\n', ' '), python_shell=True, ignore_retcode=True,
                                      env={'CORRAL_NAT': table}) %}
corral-nat:
{%- if differs %}
  cmd.run:
    - name: printf %s "$CORRAL_NAT" | nft -f -
    - env:
        - CORRAL_NAT: {{ table | json }}
{%- else %}
  test.nop:
    - name: the table ip corral of nftables is as declared
{%- endif %}
