# Addresses, MTU and state of network links (pillar corral:links).
{%- for name, link in pillar.corral.links.items() %}
corral-link-{{ name }}:
  link.managed:
    - name: {{ name }}
    {%- for key, value in link.items() %}
    - {{ key }}: {{ value | json }}
    {%- endfor %}
{%- endfor %}
