// Generated from crds/ by scripts/generate-types.ts: do not edit.

/** The schema of each kind, as its CRD has it. */
export const schemas = {
  IpBlocklist: {
    apiVersion: 'portcullis.dev/v1alpha1',
    schema: {
      type: 'object',
      required: ['spec'],
      properties: {
        apiVersion: { type: 'string', maxLength: 64 },
        kind: { type: 'string', maxLength: 64 },
        metadata: { type: 'object' },
        spec: {
          type: 'object',
          properties: {
            nodeSelector: {
              type: 'object',
              'x-kubernetes-map-type': 'atomic',
              properties: {
                matchLabels: {
                  type: 'object',
                  maxProperties: 16,
                  additionalProperties: {
                    type: 'string',
                    maxLength: 63,
                    pattern: '^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$',
                  },
                  'x-kubernetes-validations': [
                    {
                      rule: "self.all(key, size(key) <= 317 && key.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",
                      message: 'each key must be a label key such as app or example.com/role',
                    },
                  ],
                },
                matchExpressions: {
                  type: 'array',
                  maxItems: 16,
                  'x-kubernetes-list-type': 'atomic',
                  items: {
                    type: 'object',
                    required: ['key', 'operator'],
                    properties: {
                      key: {
                        type: 'string',
                        minLength: 1,
                        maxLength: 317,
                        pattern:
                          '^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$',
                      },
                      operator: { type: 'string', enum: ['In', 'NotIn', 'Exists', 'DoesNotExist'] },
                      values: {
                        type: 'array',
                        maxItems: 64,
                        'x-kubernetes-list-type': 'atomic',
                        items: {
                          type: 'string',
                          maxLength: 63,
                          pattern: '^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$',
                        },
                      },
                    },
                    'x-kubernetes-validations': [
                      {
                        rule: "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : !has(self.values) || size(self.values) == 0",
                        message: 'In and NotIn need values, Exists and DoesNotExist take none',
                      },
                    ],
                  },
                },
              },
            },
            interfaces: {
              type: 'object',
              'x-kubernetes-map-type': 'atomic',
              default: { roles: ['DefaultRoute'] },
              properties: {
                names: {
                  type: 'array',
                  maxItems: 64,
                  'x-kubernetes-list-type': 'atomic',
                  items: { type: 'string', maxLength: 15, pattern: '^[!-)+-.0-9;->@-~]{1,15}$' },
                },
                patterns: {
                  type: 'array',
                  maxItems: 64,
                  'x-kubernetes-list-type': 'atomic',
                  items: { type: 'string', maxLength: 32, pattern: '^[!-.0-9;-~]{1,32}$' },
                },
                exclude: {
                  type: 'array',
                  maxItems: 64,
                  'x-kubernetes-list-type': 'atomic',
                  items: { type: 'string', maxLength: 32, pattern: '^[!-.0-9;-~]{1,32}$' },
                },
                roles: {
                  type: 'array',
                  maxItems: 4,
                  'x-kubernetes-list-type': 'atomic',
                  items: { type: 'string', enum: ['DefaultRoute'] },
                },
              },
              'x-kubernetes-validations': [
                {
                  rule: '(has(self.names) && size(self.names) > 0) || (has(self.patterns) && size(self.patterns) > 0) || (has(self.roles) && size(self.roles) > 0)',
                  message: 'at least one of names, patterns and roles must select something',
                },
              ],
            },
            mode: { type: 'string', enum: ['Enforce', 'Monitor'], default: 'Enforce' },
            traffic: { type: 'string', enum: ['All', 'NewConnections'], default: 'All' },
            entries: {
              type: 'array',
              maxItems: 10000,
              default: [],
              'x-kubernetes-list-type': 'atomic',
              items: {
                type: 'object',
                required: ['cidr'],
                properties: {
                  cidr: {
                    type: 'string',
                    maxLength: 43,
                    'x-kubernetes-validations': [
                      {
                        rule: 'isCIDR(self) && string(cidr(self).masked()) == self',
                        message: 'must be a prefix in canonical form, without host bits',
                      },
                    ],
                  },
                  reason: { type: 'string', maxLength: 32, pattern: '^\\P{Cc}*$' },
                  expiresAt: {
                    type: 'string',
                    format: 'date-time',
                    maxLength: 35,
                    pattern:
                      '^2[0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$',
                    'x-kubernetes-validations': [
                      {
                        rule: "self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",
                        message: 'must be a time of the years 2000 to 2999',
                      },
                    ],
                  },
                },
              },
            },
            configMapRefs: {
              type: 'array',
              maxItems: 16,
              default: [],
              'x-kubernetes-list-type': 'atomic',
              items: {
                type: 'object',
                required: ['name', 'key'],
                properties: {
                  name: {
                    type: 'string',
                    maxLength: 253,
                    pattern: '^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$',
                  },
                  key: { type: 'string', minLength: 1, maxLength: 253, pattern: '^[-._a-zA-Z0-9]+$' },
                },
              },
            },
            except: {
              type: 'array',
              maxItems: 1000,
              default: [],
              'x-kubernetes-list-type': 'atomic',
              items: {
                type: 'object',
                required: ['cidr'],
                properties: {
                  cidr: {
                    type: 'string',
                    maxLength: 43,
                    'x-kubernetes-validations': [
                      {
                        rule: 'isCIDR(self) && string(cidr(self).masked()) == self',
                        message: 'must be a prefix in canonical form, without host bits',
                      },
                    ],
                  },
                  reason: { type: 'string', maxLength: 32, pattern: '^\\P{Cc}*$' },
                  expiresAt: {
                    type: 'string',
                    format: 'date-time',
                    maxLength: 35,
                    pattern:
                      '^2[0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$',
                    'x-kubernetes-validations': [
                      {
                        rule: "self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",
                        message: 'must be a time of the years 2000 to 2999',
                      },
                    ],
                  },
                },
              },
            },
            allowWide: { type: 'boolean', default: false },
          },
          'x-kubernetes-validations': [
            {
              rule: 'self.allowWide || self.entries.all(e, !isCIDR(e.cidr) || cidr(e.cidr).prefixLength() >= (cidr(e.cidr).ip().family() == 4 ? 8 : 16))',
              message: 'an entry as wide as /7 (IPv6 /15) or wider needs allowWide',
              fieldPath: '.entries',
            },
          ],
        },
        status: {
          type: 'object',
          'x-kubernetes-map-type': 'atomic',
          properties: {
            observedGeneration: { type: 'integer', format: 'int64', minimum: 0 },
            conditions: {
              type: 'array',
              maxItems: 8,
              'x-kubernetes-list-type': 'map',
              'x-kubernetes-list-map-keys': ['type'],
              items: {
                type: 'object',
                required: ['type', 'status', 'reason', 'message', 'lastTransitionTime'],
                properties: {
                  type: { type: 'string', maxLength: 64, pattern: '^[A-Z][A-Za-z]*$' },
                  status: { type: 'string', enum: ['True', 'False', 'Unknown'] },
                  reason: { type: 'string', maxLength: 64, pattern: '^[A-Z][A-Za-z]*$' },
                  message: { type: 'string', maxLength: 1024 },
                  observedGeneration: { type: 'integer', format: 'int64', minimum: 0 },
                  lastTransitionTime: { type: 'string', format: 'date-time' },
                },
              },
            },
            nodes: {
              type: 'object',
              required: ['selected', 'programmed', 'failed', 'stale', 'noReport'],
              properties: {
                selected: { type: 'integer', format: 'int32', minimum: 0 },
                programmed: { type: 'integer', format: 'int32', minimum: 0 },
                failed: { type: 'integer', format: 'int32', minimum: 0 },
                stale: { type: 'integer', format: 'int32', minimum: 0 },
                noReport: { type: 'integer', format: 'int32', minimum: 0 },
                examples: {
                  type: 'array',
                  maxItems: 10,
                  'x-kubernetes-list-type': 'atomic',
                  items: {
                    type: 'object',
                    required: ['node', 'reason'],
                    properties: {
                      node: { type: 'string', maxLength: 253 },
                      reason: { type: 'string', maxLength: 64 },
                      message: { type: 'string', maxLength: 256 },
                    },
                  },
                },
              },
            },
            summary: { type: 'string', maxLength: 32 },
            entries: {
              type: 'object',
              required: ['given', 'effective', 'expired', 'refused'],
              properties: {
                given: { type: 'integer', format: 'int32', minimum: 0 },
                effective: { type: 'integer', format: 'int32', minimum: 0 },
                expired: { type: 'integer', format: 'int32', minimum: 0 },
                refused: { type: 'integer', format: 'int32', minimum: 0 },
                refusedLines: {
                  type: 'array',
                  maxItems: 20,
                  'x-kubernetes-list-type': 'atomic',
                  items: {
                    type: 'object',
                    required: ['name', 'key', 'line', 'reason'],
                    properties: {
                      name: { type: 'string', maxLength: 253 },
                      key: { type: 'string', maxLength: 253 },
                      line: { type: 'integer', format: 'int32', minimum: 0 },
                      reason: { type: 'string', maxLength: 64 },
                    },
                  },
                },
              },
            },
            prefixSet: {
              type: 'object',
              required: ['digest', 'prefixes', 'chunks'],
              properties: {
                digest: { type: 'string', maxLength: 64 },
                prefixes: { type: 'integer', format: 'int32', minimum: 0 },
                chunks: {
                  type: 'array',
                  maxItems: 128,
                  'x-kubernetes-list-type': 'atomic',
                  items: { type: 'string', maxLength: 253 },
                },
              },
            },
            packetsDropped: { type: 'integer', format: 'int64', minimum: 0 },
          },
        },
      },
    },
  },
  PortScanPolicy: {
    apiVersion: 'portcullis.dev/v1alpha1',
    schema: {
      type: 'object',
      required: ['spec'],
      properties: {
        apiVersion: { type: 'string', maxLength: 64 },
        kind: { type: 'string', maxLength: 64 },
        metadata: { type: 'object' },
        spec: {
          type: 'object',
          required: ['mode'],
          properties: {
            priority: { type: 'integer', format: 'int32', minimum: 0, maximum: 1000, default: 0 },
            nodeSelector: {
              type: 'object',
              'x-kubernetes-map-type': 'atomic',
              properties: {
                matchLabels: {
                  type: 'object',
                  maxProperties: 16,
                  additionalProperties: {
                    type: 'string',
                    maxLength: 63,
                    pattern: '^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$',
                  },
                  'x-kubernetes-validations': [
                    {
                      rule: "self.all(key, size(key) <= 317 && key.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",
                      message: 'each key must be a label key such as app or example.com/role',
                    },
                  ],
                },
                matchExpressions: {
                  type: 'array',
                  maxItems: 16,
                  'x-kubernetes-list-type': 'atomic',
                  items: {
                    type: 'object',
                    required: ['key', 'operator'],
                    properties: {
                      key: {
                        type: 'string',
                        minLength: 1,
                        maxLength: 317,
                        pattern:
                          '^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$',
                      },
                      operator: { type: 'string', enum: ['In', 'NotIn', 'Exists', 'DoesNotExist'] },
                      values: {
                        type: 'array',
                        maxItems: 64,
                        'x-kubernetes-list-type': 'atomic',
                        items: {
                          type: 'string',
                          maxLength: 63,
                          pattern: '^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$',
                        },
                      },
                    },
                    'x-kubernetes-validations': [
                      {
                        rule: "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : !has(self.values) || size(self.values) == 0",
                        message: 'In and NotIn need values, Exists and DoesNotExist take none',
                      },
                    ],
                  },
                },
              },
            },
            interfaces: {
              type: 'object',
              'x-kubernetes-map-type': 'atomic',
              default: { roles: ['DefaultRoute'] },
              properties: {
                names: {
                  type: 'array',
                  maxItems: 64,
                  'x-kubernetes-list-type': 'atomic',
                  items: { type: 'string', maxLength: 15, pattern: '^[!-)+-.0-9;->@-~]{1,15}$' },
                },
                patterns: {
                  type: 'array',
                  maxItems: 64,
                  'x-kubernetes-list-type': 'atomic',
                  items: { type: 'string', maxLength: 32, pattern: '^[!-.0-9;-~]{1,32}$' },
                },
                exclude: {
                  type: 'array',
                  maxItems: 64,
                  'x-kubernetes-list-type': 'atomic',
                  items: { type: 'string', maxLength: 32, pattern: '^[!-.0-9;-~]{1,32}$' },
                },
                roles: {
                  type: 'array',
                  maxItems: 4,
                  'x-kubernetes-list-type': 'atomic',
                  items: { type: 'string', enum: ['DefaultRoute'] },
                },
              },
              'x-kubernetes-validations': [
                {
                  rule: '(has(self.names) && size(self.names) > 0) || (has(self.patterns) && size(self.patterns) > 0) || (has(self.roles) && size(self.roles) > 0)',
                  message: 'at least one of names, patterns and roles must select something',
                },
              ],
            },
            mode: { type: 'string', enum: ['Enforce', 'Monitor'] },
            detection: {
              type: 'object',
              default: {},
              properties: {
                distinctTargets: { type: 'integer', format: 'int32', minimum: 1, maximum: 64, default: 15 },
                window: {
                  type: 'string',
                  default: '60s',
                  maxLength: 16,
                  pattern: '^([0-9]{1,5}(h|m|s|ms)){1,4}$',
                  'x-kubernetes-validations': [
                    {
                      rule: "duration(self) >= duration('1s') && duration(self) <= duration('1h')",
                      message: 'must be between 1s and 1h',
                    },
                  ],
                },
                destinations: { type: 'string', enum: ['NodeAddresses', 'All'], default: 'NodeAddresses' },
                ipv6PrefixLength: { type: 'integer', format: 'int32', minimum: 48, maximum: 128, default: 64 },
              },
            },
            block: {
              type: 'object',
              default: {},
              properties: {
                duration: {
                  type: 'string',
                  default: '10m',
                  maxLength: 16,
                  pattern: '^([0-9]{1,5}(h|m|s|ms)){1,4}$',
                  'x-kubernetes-validations': [
                    {
                      rule: "duration(self) >= duration('1s') && duration(self) <= duration('720h')",
                      message: 'must be between 1s and 720h',
                    },
                  ],
                },
                unprovenDuration: {
                  type: 'string',
                  default: '60s',
                  maxLength: 16,
                  pattern: '^([0-9]{1,5}(h|m|s|ms)){1,4}$',
                  'x-kubernetes-validations': [
                    {
                      rule: "duration(self) >= duration('1s') && duration(self) <= duration('720h')",
                      message: 'must be between 1s and 720h',
                    },
                  ],
                },
                traffic: { type: 'string', enum: ['NewConnections', 'All'], default: 'NewConnections' },
              },
            },
            allow: {
              type: 'array',
              maxItems: 1000,
              default: [],
              'x-kubernetes-list-type': 'atomic',
              items: {
                type: 'object',
                required: ['cidr'],
                properties: {
                  cidr: {
                    type: 'string',
                    maxLength: 43,
                    'x-kubernetes-validations': [
                      {
                        rule: 'isCIDR(self) && string(cidr(self).masked()) == self',
                        message: 'must be a prefix in canonical form, without host bits',
                      },
                    ],
                  },
                  reason: { type: 'string', maxLength: 32, pattern: '^\\P{Cc}*$' },
                  expiresAt: {
                    type: 'string',
                    format: 'date-time',
                    maxLength: 35,
                    pattern:
                      '^2[0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$',
                    'x-kubernetes-validations': [
                      {
                        rule: "self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",
                        message: 'must be a time of the years 2000 to 2999',
                      },
                    ],
                  },
                },
              },
            },
            connectionLog: { type: 'string', enum: ['None', 'All'], default: 'None' },
          },
        },
        status: {
          type: 'object',
          'x-kubernetes-map-type': 'atomic',
          properties: {
            observedGeneration: { type: 'integer', format: 'int64', minimum: 0 },
            conditions: {
              type: 'array',
              maxItems: 8,
              'x-kubernetes-list-type': 'map',
              'x-kubernetes-list-map-keys': ['type'],
              items: {
                type: 'object',
                required: ['type', 'status', 'reason', 'message', 'lastTransitionTime'],
                properties: {
                  type: { type: 'string', maxLength: 64, pattern: '^[A-Z][A-Za-z]*$' },
                  status: { type: 'string', enum: ['True', 'False', 'Unknown'] },
                  reason: { type: 'string', maxLength: 64, pattern: '^[A-Z][A-Za-z]*$' },
                  message: { type: 'string', maxLength: 1024 },
                  observedGeneration: { type: 'integer', format: 'int64', minimum: 0 },
                  lastTransitionTime: { type: 'string', format: 'date-time' },
                },
              },
            },
            nodes: {
              type: 'object',
              required: ['selected', 'programmed', 'failed', 'stale', 'noReport'],
              properties: {
                selected: { type: 'integer', format: 'int32', minimum: 0 },
                programmed: { type: 'integer', format: 'int32', minimum: 0 },
                failed: { type: 'integer', format: 'int32', minimum: 0 },
                stale: { type: 'integer', format: 'int32', minimum: 0 },
                noReport: { type: 'integer', format: 'int32', minimum: 0 },
                examples: {
                  type: 'array',
                  maxItems: 10,
                  'x-kubernetes-list-type': 'atomic',
                  items: {
                    type: 'object',
                    required: ['node', 'reason'],
                    properties: {
                      node: { type: 'string', maxLength: 253 },
                      reason: { type: 'string', maxLength: 64 },
                      message: { type: 'string', maxLength: 256 },
                    },
                  },
                },
              },
            },
            summary: { type: 'string', maxLength: 32 },
            blocked: {
              type: 'object',
              required: ['sources', 'packetsDropped'],
              properties: {
                sources: { type: 'integer', format: 'int32', minimum: 0 },
                wouldBlock: { type: 'integer', format: 'int32', minimum: 0 },
                spared: { type: 'integer', format: 'int32', minimum: 0 },
                packetsDropped: { type: 'integer', format: 'int64', minimum: 0 },
              },
            },
            blocks: {
              type: 'array',
              maxItems: 100,
              'x-kubernetes-list-type': 'atomic',
              items: {
                type: 'object',
                required: ['source', 'state', 'nodes', 'nodesTotal', 'since', 'until'],
                properties: {
                  source: { type: 'string', maxLength: 43 },
                  state: { type: 'string', enum: ['Blocked', 'WouldBlock', 'Spared'] },
                  nodes: {
                    type: 'array',
                    maxItems: 5,
                    'x-kubernetes-list-type': 'atomic',
                    items: { type: 'string', maxLength: 253 },
                  },
                  nodesTotal: { type: 'integer', format: 'int32', minimum: 1 },
                  probes: { type: 'integer', format: 'int32', minimum: 0 },
                  ports: {
                    type: 'array',
                    maxItems: 16,
                    'x-kubernetes-list-type': 'atomic',
                    items: { type: 'integer', format: 'int32', minimum: 0, maximum: 65535 },
                  },
                  since: { type: 'string', format: 'date-time' },
                  until: { type: 'string', format: 'date-time' },
                  packetsDropped: { type: 'integer', format: 'int64', minimum: 0 },
                },
              },
            },
          },
        },
      },
    },
  },
  SourceException: {
    apiVersion: 'portcullis.dev/v1alpha1',
    schema: {
      type: 'object',
      required: ['spec'],
      properties: {
        apiVersion: { type: 'string', maxLength: 64 },
        kind: { type: 'string', maxLength: 64 },
        metadata: { type: 'object' },
        spec: {
          type: 'object',
          required: ['source', 'expiresAt'],
          properties: {
            source: {
              type: 'string',
              maxLength: 43,
              'x-kubernetes-validations': [
                {
                  rule: 'isCIDR(self) && string(cidr(self).masked()) == self',
                  message: 'must be a prefix in canonical form, without host bits',
                },
              ],
            },
            policies: {
              type: 'array',
              maxItems: 16,
              default: [],
              'x-kubernetes-list-type': 'atomic',
              items: { type: 'string', minLength: 1, maxLength: 253 },
            },
            reason: { type: 'string', maxLength: 128, pattern: '^\\P{Cc}*$' },
            expiresAt: {
              type: 'string',
              format: 'date-time',
              maxLength: 35,
              pattern:
                '^2[0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$',
              'x-kubernetes-validations': [
                {
                  rule: "self >= timestamp('2000-01-01T00:00:00Z') && self < timestamp('3000-01-01T00:00:00Z')",
                  message: 'must be a time of the years 2000 to 2999',
                },
              ],
            },
          },
          'x-kubernetes-validations': [
            {
              rule: '!isCIDR(self.source) || cidr(self.source).prefixLength() >= (cidr(self.source).ip().family() == 4 ? 8 : 16)',
              message: 'must not be as wide as /7 (IPv6 /15) or wider',
              fieldPath: '.source',
            },
          ],
        },
      },
    },
  },
} as const;
