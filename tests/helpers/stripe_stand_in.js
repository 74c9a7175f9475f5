// Stands in for Stripe's script in browser tests, served by tests/helpers/stripe_server.py: a card field, and
// confirming with a bank's question (3-D Secure). Only what web/static/js/pay.js uses of Stripe.js.
(() => {
  const origin = new URL(document.currentScript.src).origin;
  const send = async (path, body) => (await fetch(origin + path, { method: 'POST', body: JSON.stringify(body) })).json();

  const make = (tag, words) => Object.assign(document.createElement(tag), { textContent: words });

  const askBank = () => new Promise((resolve) => {
    const dialog = document.createElement('dialog');
    const [yes, no] = [make('button', 'Complete authentication'), make('button', 'Fail authentication')];
    dialog.append(make('h2', 'Your bank asks'), yes, no);
    for (const button of [yes, no]) {
      button.addEventListener('click', () => {
        dialog.remove();
        resolve(button === yes);
      });
    }
    document.body.append(dialog);
    dialog.showModal();
  });

  window.Stripe = (key) => ({
    elements: () => ({
      create: () => {
        const input = document.createElement('input');
        input.setAttribute('aria-label', 'Card number');
        return { input, on() {}, mount: (place) => document.querySelector(place).append(input) };
      },
    }),
    confirmCardPayment: async (secret, { payment_method: { card } }) => {
      let answer = await send('/stand-in/confirm', { key, secret, card: card.input.value });
      if (answer.status === 'requires_action') answer = await send('/stand-in/answer', { key, secret, yes: await askBank() });
      return answer.error ? { error: answer.error } : { paymentIntent: answer };
    },
  });
})();
