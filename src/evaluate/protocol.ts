/** Who is protected, and which photos are probes and which the gallery: the identification experiment of LowKey (section 4). */

/** Photos of one person, by path. */
export interface PersonPhotos {
  person: string
  files: readonly string[]
}

/** A photo and who is on it. */
export interface PersonPhoto {
  person: string
  file: string
}

/** There are too few people, or too few photos of them, to measure anything. */
export class TooFewPhotosError extends Error {
  override name = 'TooFewPhotosError'
}

export interface Split {
  /** Photos of the protected people that are searched for, clean. */
  probes: PersonPhoto[]
  /** Photos of the protected people that are searched, clean and protected. */
  gallery: PersonPhoto[]
  /** Clean gallery photos of everybody else. */
  others: PersonPhoto[]
  /** The protected people, in order. */
  people: string[]
}

export interface SplitOptions {
  /** How many people are protected. */
  people: number
  galleryPerPerson: number
}

/**
 * The first people, by name, that have a photo more than the gallery takes are protected: their first photos are the gallery, the others
 * probes. All other people give their first photos, as many, to the gallery.
 * @param photos people of different names
 * @param distractors further people, who are never protected; all their photos are in the gallery
 * @throws TooFewPhotosError where there are not as many people with enough photos, saying how many there are
 */
export function splitPeople(
  photos: readonly PersonPhotos[],
  distractors: readonly PersonPhotos[],
  { people, galleryPerPerson }: SplitOptions,
): Split {
  const sorted = photos.toSorted((a, b) => (a.person < b.person ? -1 : 1))
  const enough = sorted.filter(({ files }) => files.length > galleryPerPerson)
  if (enough.length < people) {
    throw new TooFewPhotosError(
      `${enough.length} ${enough.length === 1 ? 'person has' : 'people have'} ${galleryPerPerson + 1} photos or more ` +
        `(${galleryPerPerson} for the gallery and one to look for them with); ${people} are asked for`,
    )
  }
  const chosen = enough.slice(0, people)
  const first = ({ person, files }: PersonPhotos) => files.slice(0, galleryPerPerson).map((file) => ({ person, file }))
  return {
    probes: chosen.flatMap(({ person, files }) => files.slice(galleryPerPerson).map((file) => ({ person, file }))),
    gallery: chosen.flatMap(first),
    others: [
      ...sorted.filter((each) => !chosen.includes(each)).flatMap(first),
      ...distractors.flatMap(({ person, files }) => files.map((file) => ({ person, file }))),
    ],
    people: chosen.map(({ person }) => person),
  }
}
