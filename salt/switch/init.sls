# The whole Open vSwitch of the host, in one transaction (pillar corral:switch).
{%- set switch = pillar.get('corral', {}).switch | default({}, true) %}
{%- if switch %}
corral-switch:
  ovs.switch_managed:
    {%- for key, value in switch.items() %}
    - {{ key }}: {{ value | json }}
    {%- endfor %}
{%- endif %}
