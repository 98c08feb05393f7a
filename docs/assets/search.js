// The site's search takes "-word" for "without word" and fails on "--io-layout": flags are looked up by their name.
(send => {
  Worker.prototype.postMessage = function (message, ...rest) {
    const query = message && message.type === 2 && typeof message.data === "string";
    return send.call(this, query ? { ...message, data: message.data.replace(/(^|\s)--(?=\w)/g, "$1") } : message, ...rest);
  };
})(Worker.prototype.postMessage);
