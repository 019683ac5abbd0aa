# The whole Open vSwitch of the host, in one transaction (pillar corral:switch).
corral-switch:
  ovs.switch_managed:
    - bridges: {{ pillar.corral.switch.bridges | json }}
