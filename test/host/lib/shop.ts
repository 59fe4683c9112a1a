import type { Machine } from '../../../sandbox/machine.ts';
import { shell, UNIT, UNIT_PATH } from './worker.ts';

/** Where the app is once it belongs to a user of its own. */
export const CHECKOUT = '/srv/shop';

/** Gives the app a user of its own, `shop`, with a checkout of its own. Its unit is stopped then. */
export const moveToShop = (machine: Machine): Promise<string> =>
  shell(
    machine,
    `systemctl stop ${UNIT}
     useradd --system --create-home --shell /usr/sbin/nologin shop
     cp -a /root/slideshow ${CHECKOUT}
     chown -R shop: ${CHECKOUT}
     sed -i 's#/root/slideshow#${CHECKOUT}#g; s#^User=.*#User=shop#' ${UNIT_PATH}
     systemctl daemon-reload`,
  );
