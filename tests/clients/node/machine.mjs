// The life of a machine by @google-cloud/compute: node machine.mjs HOST PORT PROJECT ZONE NAME, token in $TOKEN.
// Prints one JSON object of what each step came to.

import compute from '@google-cloud/compute';
import {OAuth2Client} from 'google-auth-library';

const [host, port, project, zone, name] = process.argv.slice(2);
const authClient = new OAuth2Client();
authClient.setCredentials({access_token: process.env.TOKEN});
const options = {fallback: 'rest', protocol: 'http', apiEndpoint: host, port: Number(port), authClient};
const instances = new compute.InstancesClient(options);
const operations = new compute.ZoneOperationsClient(options);
const images = new compute.ImagesClient(options);
const here = {project, zone};

async function done([{latestResponse: operation}]) {
  while (operation.status !== 'DONE') {
    [operation] = await operations.wait({...here, operation: operation.name});
  }
  const {operationType, status, progress, error} = operation;
  return {operationType, status, progress, error: error ?? null};
}

async function refused(call) {
  try {
    await call;
    return null;
  } catch (error) {
    return {code: error.code, message: error.message};
  }
}

const said = {};
const [image] = await images.getFromFamily({project: 'debian-cloud', family: 'debian-12'});
said.image = image.name;
const instanceResource = {
  name,
  machineType: `zones/${zone}/machineTypes/small-instance`,
  labels: {env: 'test'},
  disks: [{boot: true, autoDelete: true, initializeParams: {sourceImage: image.selfLink}}],
  networkInterfaces: [{network: 'global/networks/default'}],
};
said.inserted = await done(await instances.insert({...here, instanceResource}));
const [made] = await instances.get({...here, instance: name});
said.made = {name: made.name, status: made.status, labels: made.labels, networkIP: made.networkInterfaces[0].networkIP};
said.conflict = await refused(instances.insert({...here, instanceResource}));
said.listed = [];
for await (const item of instances.listAsync({...here, filter: `name = ${name}`})) {
  said.listed.push(item.name);
}
said.spread = {};
for await (const [scope, {instances: inside}] of instances.aggregatedListAsync({project, includeAllScopes: true})) {
  said.spread[scope] = inside.map((item) => item.name);
}
said.deleted = await done(await instances.delete({...here, instance: name}));
said.missing = await refused(instances.get({...here, instance: name}));
console.log(JSON.stringify(said));
