export { grad } from './gradient.ts'
export { Graph, graph, Node, type Rate } from './graph.ts'
export type { ChooseKernel } from './lower.ts'
export { type CompileOptions, compile, Plan, PlanMemoryError, type PlanSummary, type ProfileRow } from './plan.ts'
