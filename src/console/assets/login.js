// The way in: log in, or make the first admin by the one-time code.

import { by, change, t } from './util.js';

const form = by('enter');
const refused = by('refused');

/** Where somebody came from: a page of ours, never another site. */
function target() {
  const to = new URLSearchParams(location.search).get('to') ?? '/';
  const url = new URL(to, location.origin);
  return url.origin === location.origin && to.startsWith('/') ? url.pathname + url.search : '/';
}

function tell(text) {
  refused.textContent = text;
  refused.hidden = false;
}

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  refused.hidden = true;
  const { again, ...body } = Object.fromEntries(new FormData(form));
  if (again !== undefined && again !== body.password) {
    tell(t('password.differ'));
    form.elements.again.focus();
    return;
  }
  const button = form.querySelector('button');
  button.disabled = true;
  try {
    await change('POST', form.dataset.call, JSON.stringify(body));
    location.replace(target());
  } catch (error) {
    button.disabled = false;
    tell(error.message);
    form.elements.password.select();
  }
});

document.documentElement.dataset.ready = String(Math.round(performance.now()));
