/** Whether a recogniser takes a face for that of the clean photo: its cosine, and the one from which two faces count as one person's. */
export const stillMatches = ({ after, threshold }: { after: number; threshold: number }): boolean => after >= threshold
