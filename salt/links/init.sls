# Addresses, MTU and state of network links (pillar corral:links); one that is null is left alone,
# since a link is made and removed by whoever owns it.
{%- for name, link in (pillar.get('corral', {}).links | default({}, true)).items() if link is not none %}
corral-link-{{ name }}:
  link.managed:
    - name: {{ name }}
    {%- for key, value in link.items() %}
    - {{ key }}: {{ value | json }}
    {%- endfor %}
{%- endfor %}
