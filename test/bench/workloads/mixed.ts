import type { Workload } from '../workloads.ts'
export const mixedWorkloads: readonly Workload[] = []
