/** ImageMagick's command, which was called otherwise before version 7, as many systems still have it. */
export const magick = (words: string): string => `\`magick ${words}\` (\`convert\` in ImageMagick 6)`
