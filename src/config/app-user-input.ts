import { patternInput } from './input.ts';

/** The user that the app runs as, if it is not the user of the unit. */
export const appUserInput = patternInput(
  {
    description:
      "User on the host that the app runs as, if it is not the unit's. The app's files belong to this user and are opened as this user, never as root.",
    fallback: '',
  },
  'a user name such as app, or empty',
  /^(?:[A-Za-z_][A-Za-z0-9_.-]{0,31})?$/,
);

/** `null`: the user of the unit. */
export const readAppUser = (value: string): string | null => (value === '' ? null : value);
