export const measuredStrengths: Readonly<Record<string, string>> = {}
