import { runFleet } from '../../src/action/fleet.ts';

void runFleet();
