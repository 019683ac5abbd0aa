# A host does what its pillar lists under corral:roles, in this order.
base:
  'corral:roles:hypervisor':
    - match: pillar
    - hypervisor
  'corral:roles:switch':
    - match: pillar
    - switch
  'corral:roles:links':
    - match: pillar
    - links
  'corral:roles:overlay':
    - match: pillar
    - overlay
  'corral:roles:firewall':
    - match: pillar
    - firewall
  'corral:roles:dhcp':
    - match: pillar
    - dhcp
  'corral:roles:images':
    - match: pillar
    - images
  'corral:roles:guests':
    - match: pillar
    - guests
