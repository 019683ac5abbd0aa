# This host's part of the fleet's networks, and the gateways and DHCP servers that it has of them (pillar
# corral:overlay). Hosts and their addresses in the underlay are peers, or what the mine has.
{%- set overlay = dict(pillar.get('corral', {}).overlay | default({}, true)) %}
{%- set mine = overlay.pop('mine', none) %}
{%- if mine %}
{%- do overlay.update({'peers': dict(salt['mine.get'](**mine), **(overlay.peers | default({}, true)))}) %}
{%- endif %}
{%- if overlay %}
{#- Before the first run of the role hypervisor, Salt's Python may lack what the function needs. #}
{%- set services = salt['ovs.overlay_services'](**overlay) if 'ovs.overlay_services' in salt else {} %}
{%- for name in services.ended | default({}) %}
corral-overlay-ended-{{ name }}:
  dhcp.subnet_absent:
    - name: {{ name }}
    - require_in:
      - ovs: corral-overlay
{%- endfor %}

corral-overlay:
  ovs.overlay_managed:
    {%- for key, value in overlay.items() %}
    - {{ key }}: {{ value | json }}
    {%- endfor %}
{%- for name, link in (services.links | default({})).items() %}

corral-overlay-gateway-{{ name }}:
  link.managed:
    - name: {{ name }}
    {%- for key, value in link.items() %}
    - {{ key }}: {{ value | json }}
    {%- endfor %}
    - require:
      - ovs: corral-overlay
{%- endfor %}
{%- for name, subnet in (services.dhcp | default({})).items() %}

corral-overlay-subnet-{{ name }}:
  dhcp.subnet_managed:
    - name: {{ name }}
    {%- for key, value in subnet.items() %}
    - {{ key }}: {{ value | json }}
    {%- endfor %}
    - require:
      - link: corral-overlay-gateway-{{ subnet.interface }}
{%- endfor %}
{%- for name, space in (services.ended | default({})).items() %}

corral-overlay-space-{{ name }}:
  link.namespace_absent:
    - name: {{ space }}
    - require:
      - ovs: corral-overlay
{%- endfor %}
{%- endif %}
