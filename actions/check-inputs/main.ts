import { checkInputs } from '../../src/action/check-inputs.ts';

void checkInputs();
