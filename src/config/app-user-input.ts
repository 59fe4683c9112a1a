import { patternInput } from './input.ts';

/** The user that owns the files of the app, where that is not the user of its unit. */
export const appUserInput = patternInput(
  {
    description:
      "User that owns the app's files on the server: its code, its virtual environment, its databases. Celeriac works on them as this user only. If not set: the `User=` of the unit.",
    fallback: '',
  },
  'a user name such as app, or empty',
  /^(?:[A-Za-z_][A-Za-z0-9_.-]{0,31})?$/,
);

/** `null`: the user of the unit. */
export const readAppUser = (value: string): string | null => (value === '' ? null : value);
