/** What docs/metrics.md says of each metric beside its type and labels: what it means and when to worry. */
export const metricsMeaning: Readonly<Record<string, string>> = {
  portcullis_build_info:
    'Always 1; the labels tell which version of the agent runs and which layout its pinned tables have.',
  portcullis_datapath_readable:
    '1 when the pinned tables could be read for this scrape. At 0 all metrics that come out of the kernel are left out; the enforcement itself may well go on.',
  portcullis_interface_attached:
    'Always 1, one series for each guarded interface. `mode` is `native`, or `generic` where the driver has no native XDP, which costs several times the CPU.',
  portcullis_packets_total:
    'Packets counted in the kernel, each under exactly one reason; one that a list in Monitor mode would have dropped is counted under `would-drop`, `list` too. See below.',
  portcullis_new_connections_total:
    'New TCP connections to own addresses that were seen by detection and passed. Other probes are not in it.',
  portcullis_blocks_total:
    'Scans detected. `state` is `blocked`, `would-block` (mode Monitor) or `spared` (the source is in the never-block set).',
  portcullis_blocks_refused_total:
    'Scanners that could not be blocked because the block table was full of blocks that must not make room. Any increase calls for a larger `--max-blocks`.',
  portcullis_blocked_sources:
    'Sources that each policy blocks now; records of Monitor mode and blocks by hand are not in it.',
  portcullis_tracked_sources:
    'Sources whose targets the kernel remembers: `one-target` of those that have touched one target, `several-targets` of the others. Entries past their window are counted until their place is used again.',
  portcullis_table_entries: 'Entries in use of each table.',
  portcullis_table_capacity: 'Entries that each table can hold; each has a setting `--max-…`.',
  portcullis_evictions_total:
    'Entries that were still wanted and made room for others. Steady growth of `first-targets` or `sources` means that slow scans may go unseen; of `blocks`, that blocks end early.',
  portcullis_events_lost_total:
    'Events that the kernel did not deliver: over the budget for connection or for block events, or because the buffer was full. Log lines are missing then, blocks are not.',
  portcullis_log_lines_suppressed_total:
    'Log lines not written: `connection` and `scan` lines beyond 1,000 a second are replaced by one summary a second; `output` lines were dropped because nobody read the output. Counts since this agent was started.',
  portcullis_findings: 'Findings that hold now. The codes are listed in [errors.md](errors.md).',
  portcullis_policy_errors:
    'Errors in the policies that hold now; the last good version of such an object stays in force.',
  portcullis_break_glass:
    '1 while break-glass is in force, by a file on the node or the annotation of its Node: nothing is attached and nothing is dropped.',
  portcullis_last_apply_timestamp_seconds:
    'When the policies were last applied without a failure; 0 before the first time.',
  portcullis_apply_failures_total:
    'Attempts to apply the policies that failed since this agent was started; what was in force before stays.',
  portcullis_apply_duration_seconds:
    'Time from a change to its being in force in the kernel, without the wait for the file to settle.',
  portcullis_scrapes_refused_total:
    'Scrapes that were refused, by `reason`, and connections beyond 8 of one host or 32 of all. See [TLS and tokens](#tls-and-tokens).',
  portcullis_metrics_tls_failures_total:
    'Looks at tls.crt and tls.key, every 10 seconds, that found a pair which cannot be used; the one before stays until it expires.',
  portcullis_kube_watch_age_seconds:
    'With `--kubernetes`: time since the API server last told something of this kind. It is asked after 190 seconds of silence, so much more means that it does not answer; what was last known stays in force.',
  portcullis_kube_watch_restarts_total:
    'With `--kubernetes`: watches opened anew, by the reason. `ended` is usual, every 5 to 10 minutes.',
  portcullis_kube_objects: 'With `--kubernetes`: objects that are watched, by kind.',
  portcullis_kube_list_failures_total: 'With `--kubernetes`: lists that failed and are tried again.',
  portcullis_kube_handler_errors_total: 'With `--kubernetes`: changes that the agent failed to take. Should stay 0.',
  portcullis_kube_requests_total:
    'With `--kubernetes`: requests to the API server by verb and class of the answer; `none` is no answer.',
  portcullis_report_writes_total: 'With `--kubernetes`: attempts to write the NodeReport, by what came of them.',
  portcullis_report_suppressed_total:
    'With `--kubernetes`: changes of the report that were not written by themselves, to spare the API server.',
  portcullis_report_last_success_age_seconds:
    'With `--kubernetes`: time since the NodeReport was last written. It is written at least every 6 minutes.',
  process_resident_memory_bytes: "Resident memory of the agent's process. Tables in the kernel are not in it.",
  process_cpu_seconds_total: "CPU time of the agent's process. Packets are handled in the kernel and are not in it.",
  process_start_time_seconds: 'When the agent was started, in seconds since the epoch.',
};
