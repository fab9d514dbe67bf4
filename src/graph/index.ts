export { grad } from './gradient.ts'
export { Graph, graph, Node, type Rate } from './graph.ts'
export type { ChooseKernel } from './lower.ts'
export {
  type CompileOptions,
  compile,
  Plan,
  PlanDestroyedError,
  PlanMemoryError,
  type PlanSummary,
} from './plan.ts'
export { formatProfile, type ProfileRow } from './profile.ts'
export { setTuning, type TuningCache, type TuningChoice } from './tune.ts'
