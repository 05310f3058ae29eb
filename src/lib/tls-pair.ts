import { createPrivateKey, X509Certificate } from 'node:crypto';

/** What keeps a PEM chain and its PEM key from being served, or undefined. The dates are not looked at: boards' clocks lie. */
export function tlsPairProblem(certificate: string, key: string): string | undefined {
  let leaf: X509Certificate;
  try {
    leaf = new X509Certificate(certificate);
  } catch {
    return 'tls.crt holds no certificate in PEM';
  }
  try {
    return leaf.checkPrivateKey(createPrivateKey(key)) ? undefined : 'tls.key is not the key of tls.crt';
  } catch {
    return 'tls.key holds no private key in PEM';
  }
}
