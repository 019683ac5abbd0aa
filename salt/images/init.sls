# The base images of guests (pillar corral:images); one that is null goes.
{%- for name, image in (pillar.get('corral', {}).images | default({}, true)).items() %}
corral-image-{{ name }}:
  {{ 'image.absent' if image is none else 'image.present' }}:
    - name: {{ name }}
    {%- for key, value in (image or {}).items() %}
    - {{ key }}: {{ value | json }}
    {%- endfor %}
{%- endfor %}
