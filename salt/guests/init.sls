# Pools of guests (pillar corral:pools); one that is null goes.
{%- for name, pool in (pillar.get('corral', {}).pools | default({}, true)).items() %}
corral-pool-{{ name }}:
  {{ 'guest_pool.absent' if pool is none else 'guest_pool.running' }}:
    - name: {{ name }}
    {%- for key, value in (pool or {}).items() %}
    - {{ key }}: {{ value | json }}
    {%- endfor %}
{%- endfor %}
