// The zones of a project, by @google-cloud/compute with a service account: node zones.mjs HOST PORT PROJECT KEYFILE.

import {readFileSync} from 'node:fs';

import compute from '@google-cloud/compute';
import {JWT} from 'google-auth-library';

const [host, port, project, file] = process.argv.slice(2);
const key = JSON.parse(readFileSync(file));
const authClient = new JWT({email: key.client_email, key: key.private_key, keyId: key.private_key_id});
const options = {fallback: 'rest', protocol: 'https', apiEndpoint: host, port: Number(port), authClient};
const names = [];
for await (const zone of new compute.ZonesClient(options).listAsync({project})) names.push(zone.name);
console.log(JSON.stringify(names));
