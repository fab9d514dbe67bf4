/** Every text of the page, in English; a translation is another object of this shape. */
import type { Failure, Inability, Strength } from './protocol.ts'

const plural = (count: number, one: string, many: string): string => `${count} ${count === 1 ? one : many}`

/** Seconds in words, rounded as one would say them. */
function time(seconds: number): string {
  if (seconds < 5) return 'a few seconds'
  if (seconds < 55) return `${5 * Math.ceil(seconds / 5)} seconds`
  if (seconds < 90) return 'a minute'
  if (seconds < 3300) return `${Math.round(seconds / 60)} minutes`
  return plural(Math.round(seconds / 3600), 'hour', 'hours')
}

const CLI = 'npx lowkey-gpu protect photo.jpg'

const BROWSERS =
  'It works in Chrome and Edge 113 or newer on Windows, macOS and ChromeOS, from 121 on on Android, and from 144 on on Linux; in Safari 26 on ' +
  'Mac, iPhone and iPad; in Firefox from 141 on on Windows and from 145 on on Macs with Apple silicon.'

export const texts = {
  language: 'en',
  title: 'Protect your photos from face recognition',
  lead: 'Face recognition services collect photos from the web and remember whose face is whose. This page changes the faces in your photos, so that such services find it harder to recognise them. Keep the original, and post the protected copy.',
  privacy: 'Your photos stay on this device.',
  privacyMore: 'There is no server behind this page. Your browser itself blocks every connection it could make.',
  /** Of the build that a server hosts, which may reload its own files. */
  privacyHosted:
    'Nothing is uploaded. Your browser lets this page load its own files from the address it came from, and blocks every other connection.',
  howToCheck: 'How can I check that?',
  checks: [
    'Switch off your internet connection, then protect a photo. Everything works as before.',
    'Or open your browser’s developer tools (F12), choose “Network”, and protect a photo. Nothing is sent.',
    'For those who read code: the page’s source begins with a Content-Security-Policy, which tells the browser what to forbid. A browser cannot forbid a page to open another page; this one never does.',
  ],
  limits: 'What it can and cannot do',
  limitsList: [
    'You will see the change. The stronger the protection, the plainer it is.',
    'It is no guarantee. It makes faces harder to recognise for the recognisers that it was measured with. A service may use another one.',
    'It does not reach back. Photos that were collected before stay as they are.',
    'Only faces that are found are protected: faces seen from the side or very small ones often are not. Look at the outlines.',
    'Do not post the original beside the protected copy.',
  ],
  noScript: 'This page needs JavaScript, which is switched off in this browser.',

  choose: '1. Choose photos',
  drop: 'Drop photos or folders here',
  orPaste: 'or paste a picture',
  choosePhotos: 'Choose photos',
  chooseFolder: 'Choose a folder',
  folderRefused: 'This browser does not let the page look into a folder that is dropped here. Use “Choose a folder”.',
  dropNow: 'Let go to add them',
  nothingAdded: 'There was no photo among them.',
  sideFiles: (count: number) =>
    `${plural(count, 'file is', 'files are')} no photo and ${count === 1 ? 'was' : 'were'} left out.`,

  strength: '2. Choose how strong',
  strengthHelp: 'What will be seen, on a portrait by NASA:',
  strengths: {
    auto: {
      name: 'Automatic',
      what: 'Like “medium”, and more where a face is still recognised. The best choice for most photos.',
    },
    low: { name: 'Low', what: 'The least visible change, and the least protection.' },
    medium: { name: 'Medium', what: 'A change that you will see.' },
    high: { name: 'High', what: 'The strongest protection. The change is plain to see.' },
  } satisfies Record<Strength, { name: string; what: string }>,
  sampleAlt: (name: string) => `A face protected with the strength “${name}”`,
  unprotectedSample: 'Unprotected',
  format: 'Kind of file',
  formatHelp: 'Results are saved as',
  formats: {
    own: 'the photo’s own kind (JPEG stays JPEG)',
    png: 'PNG: larger files; outside the faces every pixel stays exactly as it was',
  },

  photos: '3. Protect',
  next: 'Progress and what to do next',
  starting: 'Getting ready…',
  ready: 'Ready.',
  adapter: (name: string) => `Graphics: ${name}`,
  software:
    'This browser has no graphics card to work with, so the processor does the work. It takes a few minutes for each face. The command line is faster on such computers: ' +
    CLI,
  protect: (count: number) => (count === 1 ? 'Protect 1 photo' : `Protect ${count} photos`),
  protectNone: 'Protect',
  cancel: 'Cancel',
  cancelled: 'Cancelled. Photos that were finished stay here.',
  saveAll: (count: number) => (count === 1 ? 'Save' : `Save all ${count} as a zip file`),
  saved: (name: string) => `Saved as ${name}, in your browser’s downloads.`,
  summary: (done: number, failed: number, all: number) =>
    `${done} of ${plural(all, 'photo', 'photos')} protected${failed > 0 ? `, ${failed} not` : ''}.`,
  photoOf: (number: number, all: number) => `Photo ${number} of ${all}.`,
  protectedOne: (name: string) => `${name} is protected.`,
  named: (name: string, text: string) => `${name}: ${text}`,
  timeLeftAll: (seconds: number) => `About ${time(seconds)} left for all.`,
  asleep: 'This tab or the computer was asleep for a while. The work goes on.',
  unsaved: 'There are protected photos that are not saved yet.',
  removeAll: 'Remove all',

  remove: (name: string) => `Remove ${name}`,
  waiting: 'Waits for its turn.',
  looking: 'Looking for faces…',
  faces: (count: number) => (count === 1 ? 'One face found.' : `${count} faces found.`),
  maybe: (count: number) =>
    count === 1
      ? 'One more place may be a face. It stays as it is.'
      : `${count} more places may be faces. They stay as they are.`,
  face: (number: number) => `Face ${number}`,
  protectFace: (number: number, alone: boolean) => (alone ? 'Protect this face' : `Protect face ${number}`),
  noneChosen: 'No face is chosen, so this photo stays as it is.',
  phases: {
    decode: 'Opening the photo…',
    detect: 'Looking for faces…',
    compile: 'Preparing the computation…',
    attack: 'Changing the face…',
    measure: 'Checking the result…',
    encode: 'Writing the file…',
  },
  faceOf: (face: number, faces: number) => `Face ${face} of ${faces}:`,
  timeLeft: (seconds: number) => `about ${time(seconds)} left`,
  progressOf: (name: string) => `Progress of ${name}`,
  restarted: 'The graphics device was lost. This photo begins anew.',
  took: (seconds: number) => `Took ${time(seconds)}.`,
  reduced: 'Memory did not suffice for the full detail of the face, so it was worked on more coarsely.',

  verdict: (face: string, matches: boolean | null, recognisers: number) => {
    const who = recognisers === 1 ? 'the recogniser' : `${recognisers} recognisers`
    if (matches === null)
      return `${face} is not found any more in the result, so nobody can tell whether it is recognised.`
    if (matches) return `${face} still matches. Try “Automatic” or “High”, or do not post this photo.`
    return `${face} does not match: ${recognisers === 1 ? who : `none of ${who}`} ${recognisers === 1 ? 'no longer takes' : 'takes'} it for the same person.`
  },
  apart: (photos: number) =>
    `It was changed in another way than in ${photos === 1 ? 'the earlier photo' : `the ${photos} earlier photos`} of the same person, so that the results do not match each other.`,
  theFace: 'The face',
  verdictDetails: 'What each recogniser says',
  verdictNote: 'Similarity above the threshold means the same person. Other recognisers may see it otherwise.',
  compare: (name: string) => `Compare ${name} before and after`,
  before: 'Before',
  after: 'After',
  slider: 'How much of the protected photo is shown',
  show: 'Show',
  wholePhoto: 'Whole photo',
  difference: 'Show the difference',
  differenceHelp: 'Grey means unchanged. The change is shown eight times as strong as it is.',
  save: 'Save',
  again: 'Do it again',
  back: 'Keep the result',
  asFile: (name: string, size: string) => `${name} (${size})`,
  bytes: (bytes: number) => (bytes < 1e6 ? `${Math.ceil(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`),
  metadataGone: 'Place, date, camera and all other notes in the file were left out.',
  previewAlt: (name: string) => `${name}, before it is protected`,
  viewAlt: (name: string, which: string) => `${name}, ${which}`,

  failure: (failure: Failure): string => {
    switch (failure.kind) {
      case 'unreadable':
        return `This file ${failure.problem}.`
      case 'no-face':
        return (
          `No face was found, so there is nothing to protect. Faces of at least ${failure.smallest} pixels are looked for` +
          `${failure.maybe > 0 ? `; ${plural(failure.maybe, 'place', 'places')} may be a face, but not surely` : ''}.`
        )
      case 'too-small':
        return 'This photo is too small: both sides must have at least 64 pixels.'
      case 'earlier-result':
        return 'This photo was protected before. Take the original, to protect it in another way.'
      case 'memory':
        return (
          `This device has too little memory for this photo (${failure.width} × ${failure.height} pixels, ${failure.megabytes} MB unpacked). ` +
          'Close other tabs and programs, or make the photo smaller.'
        )
      case 'device-lost':
        return 'The graphics device was lost twice. Close other tabs and programs, then press “Do it again”.'
      case 'cancelled':
        return 'Cancelled.'
      case 'other':
        return `Something went wrong: ${failure.message}`
    }
  },

  unableTitle: 'This browser cannot do it',
  unable: {
    'no-webgpu': `Protecting photos takes WebGPU, which this browser does not have. ${BROWSERS}`,
    insecure:
      'This page came over an unprotected connection (http), for which browsers switch WebGPU off. Open it over https, or save it and open the file.',
    'no-adapter': `This browser has WebGPU, but offers no graphics device for it. Perhaps hardware acceleration is switched off in its settings, or the graphics driver is blocked (chrome://gpu says which). ${BROWSERS}`,
    'wrong-numbers':
      'The graphics device of this browser computes wrong numbers, so the protection would not work. Update the browser and the graphics driver, or try another browser.',
    'wrong-pixels':
      'This browser changes pictures when a page reads them, which some do as a protection against being tracked. Results would be damaged. Allow this page to read canvas data (in Brave: Shields down; in Firefox: privacy.resistFingerprinting off), or try another browser.',
    damaged: 'A part of this page is damaged. Load or download it again.',
    other: 'The graphics device of this browser could not be opened.',
  } satisfies Record<Inability, string>,
  unableCli: 'Without such a browser, the command line works on every computer with Node:',
  cli: CLI,
  details: 'Details',
  heicMissing: 'is a HEIC photo, which this copy of the page cannot read',
  heicSlow: 'is a HEIC photo whose decoder did not end',
}
