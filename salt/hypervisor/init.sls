# Packages and services of a hypervisor, and the libraries that Salt's own Python needs there.
{%- from 'hypervisor/map.jinja' import hypervisor with context %}
{%- if not hypervisor.get('packages') %}
corral-packages:
  test.fail_without_changes:
    - name: &unknown >-
        hypervisor.packages: is required, since the packages of the family {{ grains.os_family }} are not known
    - comment: *unknown
{%- else %}
corral-packages:
  pkg.installed:
    - pkgs: {{ (hypervisor.packages + hypervisor.get('build', [])) | json }}

corral-libraries:
  pip.installed:
    - pkgs: ['pydantic>=2', libvirt-python, pyroute2.minimal, asyncssh]
    - reload_modules: True
    - require:
      - pkg: corral-packages
{%- for service in hypervisor.get('services', []) %}

corral-service-{{ service }}:
  service.running:
    - name: {{ service }}
    - enable: True
    - require:
      - pkg: corral-packages
{%- endfor %}
{%- endif %}
