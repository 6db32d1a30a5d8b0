import type { Workload } from '../workloads.ts'
export const pastWorkloads: readonly Workload[] = []
