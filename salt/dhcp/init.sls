# A DHCP server for each declared subnet (pillar corral:dhcp); one that is null goes.
{%- for name, subnet in (pillar.get('corral', {}).dhcp | default({}, true)).items() %}
corral-subnet-{{ name }}:
  {{ 'dhcp.subnet_absent' if subnet is none else 'dhcp.subnet_managed' }}:
    - name: {{ name }}
    {%- for key, value in (subnet or {}).items() %}
    - {{ key }}: {{ value | json }}
    {%- endfor %}
{%- endfor %}
