import { BaseSequencer, type TestSpecification } from 'vitest/node'

/**
 * The files that take longest, the longest first (reporter.ts prints them). Vitest begins with large files where it does not know better,
 * and one of these at the end would keep one core waiting.
 */
const LONGEST = [
  'kernels/gpu-variants',
  'golden/golden',
  'attack/protecting',
  'models/train',
  'attack/protects',
  'page/conditions',
  'cli/any-size',
  'cli/check',
  'cli/protect',
  'images/fuzz',
]

/** The longest files first, then the order that vitest has. */
export default class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification) => {
      const at = LONGEST.findIndex((name) => moduleId.endsWith(`/test/${name}.test.ts`))
      return at === -1 ? LONGEST.length : at
    }
    return (await super.sort(files)).sort((a, b) => place(a) - place(b))
  }
}
