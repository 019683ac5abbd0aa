# Every host gets the example of the first document; copy s0.sls to a name of your own and list it here.
# The throw-away hypervisor of bin/demo adds lab.sls, which says what is different in namespaces.
base:
  '*':
    - s0
  'corral_lab:guests':
    - match: grain
    - lab
