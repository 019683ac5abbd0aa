# Packages and services of a hypervisor, and the libraries that Salt's own Python needs there.
{%- from 'hypervisor/map.jinja' import hypervisor with context %}
corral-packages:
  pkg.installed:
    - pkgs: {{ (hypervisor.packages + hypervisor.build) | json }}

corral-libraries:
  pip.installed:
    - pkgs: [libvirt-python, pyroute2.minimal, asyncssh]
    - reload_modules: True
    - require:
      - pkg: corral-packages
{%- for service in hypervisor.services %}

corral-service-{{ service }}:
  service.running:
    - name: {{ service }}
    - enable: True
    - require:
      - pkg: corral-packages
{%- endfor %}
